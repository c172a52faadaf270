"""The audience service: who the subscribers are, what is known of them, and sets of them."""
