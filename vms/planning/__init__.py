"""Looking at a change before making it.

There are no rules here: a plan runs the use case itself, lets its operation end well, reads what that comes to, and
undoes all of it. So what a plan says and what applying it does are one and the same.
"""
