"""The branches of a bundle whose trunk votes: what a picture shows by name, beside what was learned of captions."""
