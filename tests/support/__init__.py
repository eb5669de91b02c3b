"""What tests share: bare programs for harts, a host without a driver, generators."""
