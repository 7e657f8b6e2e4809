"""`python -m portside`."""

from portside.cli.entry import main

if __name__ == "__main__":
    main()
