"""What people write, read and checked in one place: quantities with units, tables of numbers, arrays, text files."""
