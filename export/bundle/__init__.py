"""The bundle: what a serving team gets, how it is made, checked and loaded."""
