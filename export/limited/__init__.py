"""Files from elsewhere that are read in a process of their own, with limits of memory and time."""
