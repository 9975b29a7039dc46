"""How does it all run on one machine? Embedded Postgres, Airflow's processes, sample data, `make run`."""
