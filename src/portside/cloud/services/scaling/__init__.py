"""What EC2 Auto Scaling and Application Auto Scaling have in common: rules without state."""
