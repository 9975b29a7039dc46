"""What are the product's decisions worth? They are made on worlds whose truth is known, and compared with other plans.

`make evaluate` (`python -m local.evaluation`) writes a game world, runs the product on it up to its decisions in a
database of its own and without Airflow, and prints the true value of its plan beside those of the other plans.
"""
