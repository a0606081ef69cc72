"""An AWS to test against: moto's server, and what moto lacks or is lax in."""
