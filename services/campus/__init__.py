"""Campus: schools with review and audit, students, campus cells, identification."""
