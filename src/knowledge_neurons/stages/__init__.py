"""What the stage scripts share."""
