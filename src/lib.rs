//! Wiring of the driver.
