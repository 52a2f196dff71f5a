# What a type checker sees: at run time each is imported only when it is used.

from jobctl.errors import ClassRefused as ClassRefused
from jobctl.errors import IllegalTransition as IllegalTransition
from jobctl.errors import JobctlError as JobctlError
from jobctl.errors import JobExists as JobExists
from jobctl.errors import PublishRefused as PublishRefused
from jobctl.errors import StaleJob as StaleJob
from jobctl.errors import StoreUnreachable as StoreUnreachable
from jobctl.errors import UnknownJob as UnknownJob
from jobctl.errors import WouldBlock as WouldBlock
from jobctl.model.health import Diagnosis as Diagnosis
from jobctl.model.health import Health as Health
from jobctl.ops.doctor.patient import Patient as Patient
from jobctl.runner.attempt import Attempt as Attempt
from jobctl.runner.attempt import Cancelled as Cancelled
from jobctl.runner.attempt import GiveUp as GiveUp
from jobctl.runner.tasks import Task as Task
from jobctl.runner.tasks import task as task
from jobctl.service import publish as publish
from jobctl.service import publishing as publishing
from jobctl.service.jobdict import JobDict as JobDict
from jobctl.service.queue import Queue as Queue
from jobctl.service.queue import Request as Request
from jobctl.service.startup import Recovery as Recovery
from jobctl.service.startup import recover_on_start as recover_on_start

__version__: str
