"""Shared parts of the methods: diffusion schedule, simplex noise, patches, U-Net, Vision Transformer."""
