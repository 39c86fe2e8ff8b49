"""`python -m knowledge_neurons`: the same as the command `kn`."""

from knowledge_neurons_lab import main

if __name__ == "__main__":
    main()
