"""Proofs that schedules are correct and that message programs cannot deadlock."""
