"""The command ``l2l-ref audit``: check every operation of the catalogue, and show the result as a page."""
