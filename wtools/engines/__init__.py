"""Models run by the frameworks they were made for, each in a process of its own.

`runnable` says which engine a file needs; `Engine` is the child process that has it loaded. The
frameworks are imported in the child alone, so that their libraries never meet:

    process         this side: starts the child, sends it inputs, takes its outputs
    child           that side: a loop that reads requests and answers them
    keras, torch, onnxruntime, sklearn      what the child does, one framework each

A request is a line of JSON on the child's standard input, an answer one on its output; arrays
travel as .npy files. What a framework prints goes to its standard error, which is kept for when
something fails.
"""

from __future__ import annotations

from .choice import Runnable, runnable
from .process import Engine, Input, Layer

__all__ = ["Engine", "Input", "Layer", "Runnable", "runnable"]
