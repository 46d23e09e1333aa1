"""What a notebook or a program uses: ``import genregrid as gg``, and then ``gg.train("lda", table)``.

`genregrid` offers the names of `OFFERED` and imports their modules when they are used. docs/notebook.md shows them.
"""
