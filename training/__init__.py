"""Trains LeNet-BN: images and labels come in, `checkpoint.safetensors` goes out.

Each imports from the lines below its own alone; tests/documentation/test_packages.py sees to it.

    __main__
    report, run, statistics_study
    settings
    console, figures
    files
    learner
    evaluation, population_statistics
    data, execution, optimization
    lenet, recipes
    batch_norm, errors
"""
