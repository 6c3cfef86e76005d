"""The embedded builder: solves LLB in this process, without a daemon and without root."""
