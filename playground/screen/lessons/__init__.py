"""Lessons on the screen: the list of a tab's lessons, the guide that takes a lesson's steps, the line of the very first start."""
