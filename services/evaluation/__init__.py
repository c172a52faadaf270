"""Evaluation: outcome facts, orders and their attribution, indicators, funnels and reports."""
