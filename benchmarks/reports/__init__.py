"""What the finished cells say: a frame of cells, the tables made of it, one file per renderer."""
