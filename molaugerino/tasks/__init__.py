"""Image tasks: pictures with labels, the law that each learns, and how predictions are judged."""

from molaugerino.tasks.data import PackedImages as PackedImages
from molaugerino.tasks.data import TaskData as TaskData
from molaugerino.tasks.laws import forced_law as forced_law
from molaugerino.tasks.laws import image_law as image_law
from molaugerino.tasks.scores import Loss as Loss
from molaugerino.tasks.scores import Measures as Measures
from molaugerino.tasks.scores import of_classes as of_classes
from molaugerino.tasks.scores import of_numbers as of_numbers
from molaugerino.tasks.scores import of_pixels as of_pixels
from molaugerino.tasks.table import TASKS as TASKS
from molaugerino.tasks.table import ImageTask as ImageTask
from molaugerino.tasks.table import open_task as open_task
