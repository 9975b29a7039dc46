"""How does data come to rest? The only door to Postgres: settings, contract, migrations, landing and quarantine."""
