"""Answers to look at: a contact sheet as a picture or a page, and pictures in the terminal."""
