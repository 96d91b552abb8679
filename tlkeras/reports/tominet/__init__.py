"""Report 002, EJ3: does pretraining on letters beat clothes when only 100 digits are labelled?"""
