"""What people see: progress and results, as text, HTML and widgets."""
