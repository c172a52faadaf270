"""The gRPC servicer of the campus service."""

from iop.campus.v1 import school_pb2_grpc

from services.campus.api.cells import Cells
from services.campus.api.schools import Schools
from services.campus.api.students import Students


class SchoolApi(Schools, Students, Cells, school_pb2_grpc.SchoolServiceServicer):
    """Base information of the campus market."""
