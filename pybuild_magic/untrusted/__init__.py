"""Untrusted text and numbers, made safe to keep and to show."""
