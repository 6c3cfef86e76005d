"""The embedded builder: solves LLB in this process, with no daemon and no root."""
