"""Simulators of what lies outside IOP: the SMS gateway, the official account, the BOSS.

They speak the real protocols, keep logs of their own, and decide what becomes
of each message by `fate`, so that a run can be checked from outside.
"""
