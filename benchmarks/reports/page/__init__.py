"""`bench report`: a whole study as one file of HTML that asks nobody for anything."""
