"""Graph to Plan: what fuses, loop order, tile, vector and parallel axis, where every buffer lives.

    forms, demand, calls     what each value is, how it is needed, what matmuls read
    partition                which values are computed together, which are stored           by costs, runs, tile
    expressions, loops       what a group computes at symbolic points, and axes around it   by index, movement
    nest, passes, tile       axes merged and cut, values placed in passes -> Kernel         kernel
    tasks, placement         order of steps, storage -> Plan                                inplace, memory, plan
    pipeline                 all of it
    blocks                   the plans of a tree's blocks joined: Tree -> ProgramPlan                      plan

Beside them: kernel_text, kernel_verify, kernel_interpret and plan_text, for people and for tests.
"""
