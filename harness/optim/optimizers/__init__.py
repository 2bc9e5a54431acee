"""The optimizers by name, one file each: `torch_muon.py` is `torch-muon`.

Nothing else names them: `harness.optim.registry` walks this folder. A file either holds a class or
function that takes settings of its own, as a user's file does; or it reads the flat fields of
`optim`, and then has `build(config, parameters, roles) -> parts by name` and, as literals that are
read without importing it, FIELDS (the beginnings of the fields that it reads) and, where there is
something to say, FIXED (fields of which it takes one value) and LAUNCHES_A_MATRIX.
"""
