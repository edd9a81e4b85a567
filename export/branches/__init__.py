"""What is learned of captions: a branch for pictures, behind the trunk, and one for texts."""
