"""A folder's search as a static page: what its visitors' browsers read, and the JavaScript that answers there."""
