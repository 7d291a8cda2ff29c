"""GEO: search, fetch, and a ledger of what was fetched. It feeds files to ingest."""
