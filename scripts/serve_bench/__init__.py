"""What scripts/bench_serve.py is made of."""
