"""Recommendations for many users into a file: in blocks, in bounded memory, and resumable.

users.py      who is asked for
scoring.py    a block of users -> their lines
formats.py    lines -> parts, parts -> the file
job.py        the whole of it, block by block, with what a later run needs to go on
"""

from recae.batch.job import Batch, Finished
from recae.batch.scoring import Answer, Filters, Scorer
from recae.batch.users import AllUsers, UsersFile

__all__ = ["AllUsers", "Answer", "Batch", "Filters", "Finished", "Scorer", "UsersFile"]
