"""What methods of transfer share."""
