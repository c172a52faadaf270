"""gRPC servicers: translate, call, translate back."""
