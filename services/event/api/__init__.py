"""The gRPC servicers: translate, call, translate back."""
