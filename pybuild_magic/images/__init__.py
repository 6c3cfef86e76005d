"""Images in any place: found, pulled, loaded and described."""
