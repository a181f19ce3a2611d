"""Proofs about schedules, and about programs of messages."""
