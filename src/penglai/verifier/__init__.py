"""What somebody far away does with evidence: reads it, judges it by a policy, and answers for it."""
