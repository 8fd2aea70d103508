"""Who answers: plain async classes that own a warm L1 slice and know no framework."""
