"""Report 003: scratch, UFM, L2T-ww and L2T-www; tables 1 to 4 and figures 34 to 36."""
