"""What becomes of traces after the answer: kept, made into spans, sent out. Imports only core.

`tracer.py` takes finished recorders and hands them to its thread, `recordings.py` packs them, `archive.py` keeps them
in SQLite, `assembly.py` makes spans of them, `capping.py` bounds how many, `otlp.py` sends them to a collector.
"""
