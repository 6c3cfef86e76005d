"""Text and numbers from others, made safe to keep and to show."""
